"""Reports of one HTML file each, which loads nothing: markup that escapes, the page around it, charts, images."""
