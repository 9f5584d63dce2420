"""The families, a room each, and the one table that names them (`catalog`)."""
