"""One definition per table and the check that every row passes once, at the boundary."""
