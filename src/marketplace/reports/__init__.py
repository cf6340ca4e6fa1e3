"""HTML reports: one look, one file each, photos included."""
