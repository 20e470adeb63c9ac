"""What stands in for a program that the tests do not have at hand."""
