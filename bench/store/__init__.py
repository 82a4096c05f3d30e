"""The only room that knows MLflow."""
