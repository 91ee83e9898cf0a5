"""One module per entity: requests, responses, and the values that the code passes between its layers."""
