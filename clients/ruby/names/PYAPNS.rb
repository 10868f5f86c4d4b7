# frozen_string_literal: true

# The name under which the gem PYAPNS was required. It stands in a directory of its own for file systems on which it
# would be the same as pyapns.rb.
require "apnsd/pyapns"
