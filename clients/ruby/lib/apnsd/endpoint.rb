# frozen_string_literal: true

require "openssl"
require "resolv"
require "socket"
require "timeout"
require "uri"

module Apnsd
  # Where the daemon is: +http://+ and +https://+ URLs, with user and password where it wants them, and +unix:/path+.
  class Endpoint # :nodoc:
    DEFAULT = "http://127.0.0.1:7077/"
    # Seconds between attempts at a unix socket for which too many wait.
    RETRY_AFTER = 0.02
    private_constant :RETRY_AFTER

    # Without a URL the environment variable APNSD_URL tells, else it is this machine.
    def initialize(url)
      given = [url, ENV.fetch("APNSD_URL", nil)].map(&:to_s).find { |each| !each.empty? } || DEFAULT
      @socket = socket(given.delete_prefix("unix:")) if given.start_with?("unix:")
      @uri = @socket ? URI("http://localhost/") : parsed(given)
      @head = head.freeze
    end

    # A new connection. No proxy is used, whatever the environment says.
    def connect(deadline)
      socket = @socket ? connected_unix(deadline) : connected_tcp(deadline)
      connection = Connection.new(secure(socket, deadline))
    ensure
      socket&.close unless connection
    end

    # The text of a request with this body.
    def request(body)
      "#{@head}Content-Length: #{body.bytesize}\r\n\r\n".b << body.b
    end

    # Without what may be secret: user, password and query.
    def to_s
      @socket ? "unix:#{@socket.unix_path}" : "#{@uri.scheme}://#{@uri.host}:#{@uri.port}#{@uri.path}"
    end

    def inspect
      "#<#{self.class} #{self}>"
    end

    private

    def head
      credentials = [@uri.user, @uri.password].map { |part| decoded(part) }.join(":") if @uri.user
      "POST #{@uri.request_uri} HTTP/1.1\r\n" \
        "Host: #{@uri.host}:#{@uri.port}\r\n" \
        "User-Agent: apnsd-ruby/#{VERSION}\r\n" \
        "#{"Authorization: Basic #{[credentials].pack("m0")}\r\n" if credentials}" \
        "Accept-Encoding: identity\r\n" \
        "Content-Type: text/xml; charset=utf-8\r\n"
    end

    def decoded(part)
      URI.decode_www_form_component(part.to_s.gsub("+", "%2B"))
    end

    # A URL that is no good is not repeated: it may hold a password.
    def parsed(url)
      uri = URI(url)
      return uri.tap { uri.path = "/" if uri.path.empty? } if uri.is_a?(URI::HTTP) && !uri.host.to_s.empty?

      raise URI::InvalidURIError
    rescue URI::InvalidURIError
      raise InvalidArguments, "url: http://host:port/, https://host:port/ or unix:/path/of/socket is needed", cause: nil
    end

    def socket(path)
      raise InvalidArguments, "url: the path of the socket is missing: unix:/path/of/socket" if path.empty?

      Addrinfo.unix(path)
    rescue ArgumentError
      raise InvalidArguments, "url: the path of the socket is too long: #{path}", cause: nil
    end

    # Names are looked up by the operating system, which knows no deadline: hence Timeout.
    def connected_tcp(deadline)
      socket = Timeout.timeout(deadline.left, Deadline::Passed) { Socket.tcp(@uri.hostname, @uri.port) }
      socket.setsockopt(:TCP, :NODELAY, true)
      socket
    end

    # Where too many wait to be accepted, the operating system says so at once, and nothing tells when it changes.
    def connected_unix(deadline)
      socket = Socket.new(:UNIX, :STREAM)
      until connected?(socket)
        deadline.left
        sleep(RETRY_AFTER)
      end
      connected = socket
    ensure
      socket&.close unless connected
    end

    def connected?(socket)
      socket.connect_nonblock(@socket)
      true
    rescue Errno::EAGAIN
      false
    end

    # The socket itself, or TLS over it with the server that is meant.
    def secure(socket, deadline)
      return socket unless @uri.is_a?(URI::HTTPS)

      tls = OpenSSL::SSL::SSLSocket.new(socket, OpenSSL::SSL::SSLContext.new.tap(&:set_params))
      tls.sync_close = true
      tls.hostname = @uri.hostname unless @uri.hostname.match?(Resolv::AddressRegex)
      deadline.wait(socket) { tls.connect_nonblock(exception: false) }
      tls.post_connection_check(@uri.hostname)
      tls
    end
  end
end
