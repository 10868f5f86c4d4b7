# frozen_string_literal: true

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
    # How something else than the daemon answers: no HTTP, or no TLS, or not the one that is meant.
    STRANGE = [Connection::Malformed, OpenSSL::SSL::SSLError].freeze
    # What else can happen on the way.
    FAILED = [SystemCallError, SocketError, *BROKEN].freeze
    private_constant :BROKEN, :FAILED, :STRANGE

    # The body of an answer, and whether the call was made twice for it.
    Reply = Struct.new(:body, :repeated)

    def initialize(endpoint, timeout)
      @endpoint = endpoint
      @timeout = timeout
      @lock = Mutex.new
      @idle = []
      @process = Process.pid
    end

    # Carries a call there and its Reply back. Both may take the time-out and +wait+ seconds more. Raises
    # ConnectionFailed, and what the status of an answer stands for.
    def post(body, wait: 0)
      answer, repeated = exchange_or_repeat(@endpoint.request(body), Deadline.new(@timeout + wait))
      return Reply.new(answer.body, repeated) if answer.status == 200

      refused(answer)
    rescue Deadline::Passed => e
      fail_with("no answer within #{@timeout + wait} seconds", cause: e)
    rescue *STRANGE => e
      fail_with("#{e.message} (#{e.class}); #{URL_QUESTION}", cause: e)
    rescue *FAILED => e
      fail_with("#{e.message} (#{e.class}); is apnsd running there?", cause: e)
    end

    # What answered is not the daemon.
    def misunderstood(problem)
      fail_with("what it answered #{shown(problem)}; #{URL_QUESTION}")
    end

    # Closes what is idle.
    def close
      idle = @lock.synchronize do
        forget_inherited
        @idle.shift(@idle.size)
      end
      idle.each { |each| each.connection.close }
    end

    def to_s
      @endpoint.to_s
    end

    def inspect
      "#<#{self.class} #{self}>"
    end

    # A connection, and the end of the time for which it is worth keeping.
    Idle = Struct.new(:connection, :worth)
    private_constant :Idle

    private

    # A call on a connection that breaks is made again, once, on a new one. One without an answer in time is not.
    def exchange_or_repeat(request, deadline)
      connection = take || @endpoint.connect(deadline)
      begin
        [exchange(connection, request, deadline), false]
      rescue *BROKEN
        [exchange(@endpoint.connect(deadline), request, deadline), true]
      end
    end

    # The thread may be stopped at any point: what others may have got is not closed here.
    def exchange(connection, request, deadline)
      answer = connection.exchange(request, deadline)
      kept = connection.reusable?
      keep(connection) if kept
      answer
    ensure
      connection.close unless kept
    end

    # An idle connection on which nothing has happened since.
    def take
      while (idle = pop)
        return idle.connection if idle.worth > now && idle.connection.reusable?

        idle.connection.close
      end
    end

    def pop
      @lock.synchronize do
        forget_inherited
        @idle.pop
      end
    end

    def keep(connection)
      outdated = @lock.synchronize do
        @idle.push(Idle.new(connection, now + IDLE_MAX))
        @idle.shift(@idle.index { |idle| idle.worth > now })
      end
      outdated.each { |idle| idle.connection.close }
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end

    # In a forked process. The connections are the parent's: closing them here would end TLS sessions there.
    def forget_inherited
      return if @process == Process.pid

      @process = Process.pid
      @idle = []
    end

    # An answer with another status than 200.
    def refused(answer)
      text = "it answered HTTP #{answer.status} #{shown(answer.text)}. #{shown(answer.body)}".strip
      case answer.status
      when 401, 403 then raise NotConfigured, "#{self}: #{text}"
      when 429, 503 then raise ServerTimeout, "#{self}: #{text}"
      when 408, 500.. then fail_with(text)
      when 404, 405, ...400 then fail_with("#{text}; #{URL_QUESTION}")
      else raise InvalidArguments, "#{self}: #{text}"
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
