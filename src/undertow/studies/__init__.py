"""From a question to a verdict: what is asked, how it is done, what is answered."""
