# frozen_string_literal: true

require "openssl"
require "socket"

# A server that plays a script, so that it is known what came over the wire.
module ScriptedServer
  # An HTTP answer with this value.
  def self.answer(value)
    http("<params><param><value>#{value}</value></param></params>")
  end

  # An HTTP answer with a fault of this value.
  def self.fault(value)
    http("<fault><value>#{value}</value></fault>")
  end

  def self.http(content)
    body = "<?xml version='1.0'?><methodResponse>#{content}</methodResponse>"
    "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: #{body.bytesize}\r\n\r\n#{body}"
  end
  private_class_method :http

  OK = answer("<nil/>").freeze
  Request = Struct.new(:connection, :authorization, :body)

  # A server that plays one step for each request, over connections that stay open.
  def with_server(steps, tls: nil, timeout: 20)
    listener = TCPServer.new("127.0.0.1", 0)
    requests = []
    serving = Thread.new { serve(tls ? OpenSSL::SSL::SSLServer.new(listener, tls) : listener, steps.dup, requests) }
    serving.report_on_exception = false
    @address = "#{tls ? "https://me:pass@localhost" : "http://127.0.0.1"}:#{listener.addr[1]}/"
    yield Apnsd::Client.new(url: @address, timeout:), requests
  ensure
    serving&.kill&.join
    listener&.close
  end

  def serve(server, steps, requests)
    (1..).each do |number|
      connection = server.accept
      while (head = connection.gets("\r\n\r\n"))
        body = connection.read(head[/^Content-Length: (\d+)/i, 1].to_i)
        requests << Request.new(number, head[/^Authorization: (.+)\r/i, 1], body)
        break unless play(connection, steps.shift)
      end
      connection.close
    rescue OpenSSL::SSL::SSLError
      next # The client did not like the certificate, or went without a word.
    end
  end

  # Whether the connection stays open.
  def play(connection, step)
    case step
    when :close then return false
    when :half then return !connection.write(OK[0..-10])
    when :silence then Thread.stop
    when Hash
      sleep(step[:seconds])
      connection.write(step[:answer])
    when Enumerator then return trickle(connection, step)
    else connection.write(step)
    end
    true
  end

  # One part after another, until the client has gone; then the connection is closed.
  def trickle(connection, parts)
    parts.each do |part|
      connection.write(part)
      sleep(0.02) if part.bytesize < 1000
    end
    false
  rescue Errno::EPIPE, Errno::ECONNRESET
    false
  end
end
