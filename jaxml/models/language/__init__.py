"""Networks for language, and how text is generated with them."""
