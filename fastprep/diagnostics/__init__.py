"""Reports about a file (`contents`), about speed (`rates`), and about a GPU (`gpu`)."""
