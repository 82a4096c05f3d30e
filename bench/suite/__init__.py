"""Suite files, and the cells they settle to."""
