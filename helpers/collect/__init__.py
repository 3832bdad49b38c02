"""From the kernel to a DataFrame; the map of this room is in `helpers`."""
