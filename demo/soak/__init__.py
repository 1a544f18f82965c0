"""Endurance: a seeded crowd against the whole program for minutes or hours, and what it did to the program's memory."""
