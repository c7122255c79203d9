"""The engine: SQL in, a differentially private answer out. Start reading at road.py."""
