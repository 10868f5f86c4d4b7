# frozen_string_literal: true

# The name under which the client of pyapns was required.
require "apnsd/pyapns"
