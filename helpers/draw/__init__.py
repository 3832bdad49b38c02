"""From a DataFrame to a picture; the map of this room is in `helpers`."""
