# frozen_string_literal: true

require "openssl"

module Apnsd
  # Carries calls to the daemon and answers back, over connections that stay open: as many as threads call at the same
  # time. Safe to use from threads, fibers and forked processes.
  class Transport # :nodoc:
    # Seconds for which an idle connection is kept. The daemon closes them after 75 (http.keep_alive).
    IDLE_MAX = 60
    # Characters of what answered instead of the daemon that are told.
    SHOWN_MAX = 300
    URL_QUESTION = "is this the URL of apnsd?"

    # How a connection ends that stood before.
    BROKEN = [EOFError, IOError, Errno::ECONNRESET, Errno::EPIPE, Errno::ECONNABORTED, OpenSSL::SSL::SSLError].freeze
    # What else can happen on the way.
    FAILED = [SystemCallError, SocketError, Timeout::Error, Net::HTTPBadResponse, Net::HTTPHeaderSyntaxError,
              Net::ProtocolError, *BROKEN].freeze
    # What of these something else than the daemon is behind: no HTTP, or no TLS, or not the one that is meant.
    STRANGE = [Net::HTTPBadResponse, Net::HTTPHeaderSyntaxError, OpenSSL::SSL::SSLError].freeze
    # What the daemon answers to a call that it cannot take as it is, or not now. So can what stands before it.
    NOT_TAKEN = [Net::HTTPRequestTimeOut, Net::HTTPPayloadTooLarge, Net::HTTPTooManyRequests,
                 Net::HTTPServerError].freeze
    # What the daemon answers to those whom it does not serve.
    NOT_SERVED = [Net::HTTPUnauthorized, Net::HTTPForbidden].freeze
    private_constant :BROKEN, :FAILED, :STRANGE, :NOT_TAKEN, :NOT_SERVED

    def initialize(endpoint, timeout)
      @endpoint = endpoint
      @timeout = timeout
      @lock = Mutex.new
      @idle = []
      @process = Process.pid
    end

    # The body of the answer. It may take the time-out and +wait+ seconds more. Raises ConnectionFailed, and
    # NotConfigured where the daemon does not serve this user.
    def post(body, wait: 0)
      deadline = Deadline.new(@timeout + wait)
      answer, body = exchange_or_repeat(@endpoint.request(body), deadline)
      return body if answer.is_a?(Net::HTTPOK)

      refused(answer, body)
    rescue Timeout::Error => e
      fail_with("no answer within #{@timeout + wait} seconds", cause: e)
    rescue *FAILED => e
      question = STRANGE.include?(e.class) ? URL_QUESTION : "is apnsd running there?"
      fail_with("#{e.message} (#{e.class}); #{question}", cause: e)
    end

    # What answered is no XML-RPC server.
    def misunderstood(problem)
      fail_with("what it answered is not XML-RPC: #{shown(problem[/.*/])}; #{URL_QUESTION}")
    end

    # Closes what is idle.
    def close
      idle = @lock.synchronize do
        forget_inherited
        @idle.shift(@idle.size)
      end
      idle.each { |each| discard(each.connection) }
    end

    def to_s
      @endpoint.to_s
    end

    # A point of time, in seconds from now.
    class Deadline
      def initialize(seconds)
        @at = now + seconds
      end

      # Seconds that are left; raises Timeout::Error when none are.
      def left
        left = @at - now
        left.positive? ? left : raise(Timeout::Error)
      end

      private

      def now
        Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end
    end
    private_constant :Deadline

    # A connection, and the end of the time for which it is worth keeping.
    Idle = Struct.new(:connection, :worth)
    private_constant :Idle

    private

    # A call on a connection that breaks is made again, once, on a new one. One without an answer in time is not.
    def exchange_or_repeat(request, deadline)
      connection = take || connect(deadline)
      begin
        exchange(connection, request, deadline)
      rescue *BROKEN
        exchange(connect(deadline), request, deadline)
      end
    end

    def exchange(connection, request, deadline)
      body = +""
      connection.open_timeout = connection.write_timeout = connection.read_timeout = deadline.left
      answer = connection.request(request) do |response|
        response.read_body do |part|
          body << part
          connection.read_timeout = deadline.left
        end
      end
      keep(connection)
      kept = true
      [answer, body]
    ensure
      discard(connection) unless kept
    end

    def connect(deadline)
      connection = @endpoint.connection
      connection.open_timeout = deadline.left
      connection.keep_alive_timeout = IDLE_MAX
      connection.ignore_eof = false
      connection.start
    end

    def take
      @lock.synchronize do
        forget_inherited
        @idle.pop&.connection
      end
    end

    def keep(connection)
      now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      outdated = @lock.synchronize do
        @idle.push(Idle.new(connection, now + IDLE_MAX))
        @idle.shift(@idle.index { |idle| idle.worth > now })
      end
      outdated.each { |idle| discard(idle.connection) }
    end

    # In a forked process. The connections are the parent's: closing them here would end TLS sessions there.
    def forget_inherited
      return if @process == Process.pid

      @process = Process.pid
      @idle = []
    end

    def discard(connection)
      connection.finish if connection.started?
    rescue IOError, SystemCallError, OpenSSL::SSL::SSLError
      # It was closed before, or cannot say goodbye: it is of no use in any case.
    end

    # An answer with another status than 200.
    def refused(answer, body)
      text = "it answered HTTP #{answer.code} #{answer.message}. #{shown(body)}".strip
      case answer
      when *NOT_SERVED then raise NotConfigured, "#{self}: #{text}"
      when *NOT_TAKEN then fail_with(text)
      else fail_with("#{text}; #{URL_QUESTION}")
      end
    end

    def fail_with(problem, cause: nil)
      raise ConnectionFailed, "#{self}: #{problem}", cause:
    end

    def shown(text)
      line = text.dup.force_encoding(Encoding::UTF_8).scrub("?").strip
      line.size > SHOWN_MAX ? "#{line[0, SHOWN_MAX]}…" : line
    end
  end
end
