"""What the terminal shows: tables, progress, and the cards of methods."""
