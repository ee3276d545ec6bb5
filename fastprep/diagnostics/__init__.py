"""Reports about a file (`contents`), about speed (`rates`, and `comparison` with loops by hand), and about a GPU (`gpu`)."""
