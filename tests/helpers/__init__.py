"""What tests share besides fixtures: copies of this project, real servers, dumps and training runs."""
