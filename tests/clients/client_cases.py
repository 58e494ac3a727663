"""What the clients are tried on, and what came out."""

MATRICES = ((77, 66), (64, 51))  # odd rows, even columns, and the other way round
TABLE: list[str] = []  # of docs/clients.md
