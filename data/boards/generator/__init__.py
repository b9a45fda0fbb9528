"""Circuit boards for the inspection lesson: artwork, routing, planted defects, Gerber files and pictures."""
