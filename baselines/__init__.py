"""Methods to beat, one file each. A method file defines `method(problem, size)`."""
