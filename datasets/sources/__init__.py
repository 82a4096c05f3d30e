"""Where the data come from: folders, downloads, and the file formats and lists of publishers."""
