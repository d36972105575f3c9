"""What everything stands on: settings, clock, contracts, sources, lake and the doors to outside systems."""
