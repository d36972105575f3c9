"""The one error of the point-in-time store."""


class PointInTimeError(Exception):
    """Historical features cannot be had as asked; the message names the view, the column and what to do."""
