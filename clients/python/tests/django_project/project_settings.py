"""The settings of a small project that sends notifications. Tests put more of them, as JSON, into SETTINGS."""

import json
import os

SECRET_KEY = "for tests"
INSTALLED_APPS = ["apnsd.django", "devices"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "America/Chicago"

globals().update(json.loads(os.environ.get("SETTINGS", "{}")))
