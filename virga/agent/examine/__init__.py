"""What an agent can say of its own host when the doctor asks: room, interfaces, wires, neighbours. Reads only."""
