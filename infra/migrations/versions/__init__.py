"""One module per revision, by number. Each changes the tables of a kind of database, the one that it is given."""
