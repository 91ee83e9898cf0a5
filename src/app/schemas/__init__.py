"""One module an entity: what clients send and see, and what the code passes on."""
