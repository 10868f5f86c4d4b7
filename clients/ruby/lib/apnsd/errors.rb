# frozen_string_literal: true

module Apnsd
  # What every error of this gem is. Its message is the daemon's text, or that of the client, and says what to do.
  class Error < StandardError
    # The code of the daemon's fault (Integer); nil where the client itself found the problem.
    attr_reader :code
    # Of Client#notify, Client#deliver and Client#feedback (otherwise nil): the request id of the call. The same call
    # with the same request id has no second effect within 15 minutes; that of feedback returns the same entries.
    attr_reader :request_id
    # Of Client#notify and Client#deliver (otherwise nil): how many tokens were accepted before the failure. Positions
    # in the message count from there.
    attr_reader :accepted

    alias text message

    # The error for a fault of the daemon.
    def self.of_fault(code, text) # :nodoc:
      FAULTS.fetch(code, Error).new(text, code:)
    end

    def initialize(text = nil, code: nil)
      super(text)
      @code = code
    end

    # The same, with what is known of the call.
    def of_call(request_id:, accepted: nil) # :nodoc:
      @request_id = request_id
      @accepted = accepted
      self
    end
  end

  # The daemon does not know the app (404).
  class UnknownAppID < Error; end

  # The daemon's configuration does not name the environment (401).
  class InvalidEnvironment < Error; end

  # Nothing was accepted, and the same call may work later: the app is paused, the disk is full, … (500). The code is
  # nil where the answer was HTTP 429 or 503.
  class ServerTimeout < Error; end

  # The call cannot work as it is. The code is 8002, or nil where the client did not make the call, or the answer was
  # HTTP 413 and its like.
  class InvalidArguments < Error; end

  # The client has no settings to work with, or the daemon does not serve the user of its URL (HTTP 401 and 403).
  class NotConfigured < Error; end

  # No answer: nobody listens, the connection broke twice, the time was up, or what answers is not the daemon. The
  # call may have had its effect; a repetition with its request_id has none then. #cause is the error of the socket.
  class ConnectionFailed < Error; end

  # The error for each fault code that has one of its own.
  FAULTS = { 404 => UnknownAppID, 401 => InvalidEnvironment, 500 => ServerTimeout, 8002 => InvalidArguments }.freeze
  private_constant :FAULTS
end
