# frozen_string_literal: true

require "openssl"
require "socket"

module Apnsd
  # One connection that speaks HTTP/1.1, as much of it as calls of the daemon need. Nothing that the other side does, or
  # does not, makes it wait past a deadline or hold more than an answer may have.
  class Connection # :nodoc:
    # What answers speaks no HTTP.
    class Malformed < StandardError; end

    # Bytes of an answer's body.
    BODY_MAX = 64 << 20
    # Bytes of the lines around it: status, headers, sizes of chunks.
    LINES_MAX = 1 << 20
    READ_MAX = 64 << 10
    # Headers that say how long an answer is.
    LENGTHS = %w[content-length transfer-encoding].freeze
    private_constant :LINES_MAX, :READ_MAX, :LENGTHS

    # status and text are the first line's.
    Answer = Struct.new(:status, :text, :body)

    # Takes a socket that is connected.
    def initialize(socket)
      @socket = socket
      @received = +"".b
      @reusable = false
    end

    # Sends a request as it is; the Answer.
    def exchange(request, deadline)
      @reusable = false
      @deadline = deadline
      @lines_left = LINES_MAX
      write(request)
      status, text, headers = head
      body = body(status, headers)
      @reusable = @received.empty? && !headers["connection"].to_s.downcase.include?("close")
      Answer.new(status, text, body)
    end

    # Whether another request can be sent: the last answer was read to its end, and nothing came behind it, nor the end.
    def reusable?
      @reusable && !@socket.to_io.wait_readable(0)
    end

    def close
      @socket.close
    rescue IOError, SystemCallError, OpenSSL::SSL::SSLError
      # It was closed before, or cannot say goodbye: it is of no use in any case.
    end

    private

    # Someone who does not read the request to its end may have answered all the same.
    def write(request)
      until request.empty?
        written = @deadline.wait(@socket) { @socket.write_nonblock(request, exception: false) }
        request = request.byteslice(written..)
      end
    rescue Errno::EPIPE, Errno::ECONNRESET
      nil
    end

    # Status, its text, and headers with names in lower case. Announcements of an answer (1xx) are passed over.
    def head
      loop do
        _, version, status, text = %r{\A(HTTP/1\.[01]) (\d{3})(?: (.*))?\z}.match(line).to_a
        raise Malformed, "this is not HTTP" unless status

        headers = headers(version == "HTTP/1.0" ? { "connection" => "close" } : {})
        return [status.to_i, text.to_s, headers] unless status.start_with?("1")
      end
    end

    def headers(headers)
      until (text = line).empty?
        _, name, value = /\A([^\s:]+):[ \t]*(.*?)[ \t]*\z/.match(text).to_a
        raise Malformed, "a line of its headers is none" unless name

        name = name.downcase
        raise Malformed, "it says #{name} twice" if LENGTHS.include?(name) && headers.key?(name)

        headers[name] = value if name == "connection" || LENGTHS.include?(name)
      end
      headers
    end

    def body(status, headers)
      length, coding = headers.values_at(*LENGTHS)
      return "" if [204, 304].include?(status)
      return chunks if coding&.casecmp?("chunked")
      raise Malformed, "Transfer-Encoding: #{coding}" if coding

      headers["connection"] = "close" unless length
      length ? take(size(length[/\A\d{1,18}\z/], 10)) : rest
    end

    def chunks
      body = +"".b
      until (length = size(line[/\A\h{1,16}(?=\s*(;|\z))/], 16)).zero?
        check_size(body.bytesize + length)
        body << take(length)
        raise Malformed, "a chunk is longer than it says" unless line.empty?
      end
      headers({})
      body
    end

    def rest
      check_size(@received.bytesize) while receive
      take(@received.bytesize)
    end

    def size(text, base)
      raise Malformed, "the length of its answer is no number" unless text

      text.to_i(base).tap { |size| check_size(size) }
    end

    def check_size(size)
      raise Malformed, "its answer is larger than #{BODY_MAX >> 20} MiB" if size > BODY_MAX
    end

    def line
      searched = 0
      until (length = @received.index("\n", searched))
        searched = @received.bytesize
        check_lines(searched)
        receive_more
      end
      @lines_left -= length + 1
      check_lines(0)
      take(length + 1).chomp
    end

    def check_lines(size)
      raise Malformed, "its headers do not end" if size > @lines_left
    end

    def take(length)
      receive_more while @received.bytesize < length
      @received.slice!(0, length)
    end

    def receive_more
      receive || raise(EOFError, "the connection ended before the answer did")
    end

    # More of what comes; nil at the end.
    def receive
      part = @deadline.wait(@socket) { @socket.read_nonblock(READ_MAX, exception: false) }
      part && (@received << part)
    end
  end
end
