"""Custom datasets: a user's folder or table of videos."""
