"""A package: a library that is installed brings a folder of this name too."""
