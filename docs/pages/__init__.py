"""What writes the pages that are made from the code and from kept results."""
