"""Feast objects only; imports inside are relative because the `feast` CLI loads files by path."""
