"""What only a lesson needs; the map of this room is in `helpers`."""
