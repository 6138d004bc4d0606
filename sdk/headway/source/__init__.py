"""What goes into an image and onto it: the code as a bundle, the environment as a digest."""
