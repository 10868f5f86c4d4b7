"""What ``manage.py`` gets from apnsd."""
