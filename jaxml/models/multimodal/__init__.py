"""Networks of images and text together."""
