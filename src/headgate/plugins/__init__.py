"""The plugins that come with headgate: one file each, written against the public API only, never using each other."""
