# frozen_string_literal: true

module Apnsd
  # The version of this gem, which is that of the daemon it was made for.
  VERSION = "0.1.0"
end
