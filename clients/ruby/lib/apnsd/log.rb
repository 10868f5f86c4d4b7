# frozen_string_literal: true

module Apnsd
  # The logger of an application that has none: lines on the standard error stream.
  module Log # :nodoc:
    class << self
      def warn(text)
        $stderr.write("apnsd: #{text}\n") # Kernel#warn is silent where warnings of Ruby are switched off.
      end
      alias error warn
    end
  end
end
