"""Where rows come from that nobody sends: databases and object stores, by the names that the settings give them."""
