# frozen_string_literal: true

require "io/wait"
require "timeout"

module Apnsd
  # A point of time, in seconds from now.
  class Deadline # :nodoc:
    # It has come. Nobody else raises this, as somebody might Timeout::Error.
    class Passed < Timeout::Error; end

    def initialize(seconds)
      @at = now + seconds
    end

    # Seconds that are left. Raises Passed.
    def left
      left = @at - now
      left.positive? ? left : raise(Passed)
    end

    # Calls the block until it returns something else than +:wait_readable+ and +:wait_writable+, the answers of
    # operations that do not block, and waits for the socket in between. Raises Passed.
    def wait(socket)
      loop do
        # The time is looked at each time: something may always be there, and yet never enough.
        left
        case result = yield
        when :wait_readable then socket.to_io.wait_readable(left) || raise(Passed)
        when :wait_writable then socket.to_io.wait_writable(left) || raise(Passed)
        else return result
        end
      end
    end

    private

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
