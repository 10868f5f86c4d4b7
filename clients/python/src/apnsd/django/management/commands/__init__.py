"""The commands of ``manage.py``: ``apnsd_check`` and ``apnsd_feedback``."""
