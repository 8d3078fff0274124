"""Static figures at paper size: functions from frames to matplotlib figures, and one thin writer."""
