"""Models as others have trained them, in the form in which the pipeline reads them."""
