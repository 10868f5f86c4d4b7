# frozen_string_literal: true

require "xmlrpc/create"
require "xmlrpc/parser"
require "xmlrpc/config"
require "rexml/document"
require "strscan"
require "timeout"

module Apnsd
  # XML-RPC as text: calls and answers, on the gem xmlrpc. What that gem takes or refuses by constants for the whole
  # process (nil, large integers) is decided here for this client alone.
  module Codec # :nodoc:
    # An answer is not XML-RPC.
    class Malformed < StandardError; end

    # Elements in one another.
    DEPTH_MAX = 64
    private_constant :DEPTH_MAX

    module_function

    # The text of a call. Raises InvalidArguments for what XML-RPC cannot say.
    def call(method, params)
      Create.new(Writer.new).methodCall(method, *params)
    rescue ArgumentError, EncodingError, RuntimeError, SystemStackError => e
      raise InvalidArguments, "#{method}: the arguments cannot be written as XML-RPC: #{e.message}"
    end

    # The value of an answer: names of members are symbols, times are Time in UTC. Raises the error of a fault, and
    # Malformed.
    def answer(text)
      text = text.dup.force_encoding(Encoding::UTF_8)
      scan(text)
      heard = parse(text)
      raise Error.of_fault(heard.fault.faultCode, heard.fault.faultString) if heard.fault
      raise Malformed, "it has not one value, but #{heard.params.size}" unless heard.params.size == 1

      native(heard.params.first)
    end

    # Refuses what a parser may take too long for, or too much of: all that is neither text nor a plain element.
    def scan(text)
      raise Malformed, "it is not text in UTF-8" unless text.valid_encoding?

      scanner = StringScanner.new(text)
      scanner.skip(/\s*<\?xml\s[^<>]*\?>/)
      depth = 0
      while scanner.skip_until(/(?=<)/)
        raise Malformed, "there is more than plain elements in it" unless scanner.skip(%r{<(/)?[\w.]+\s*>|<[\w.]+\s*/>})

        depth += scanner[1] ? -1 : 1 unless scanner.matched.end_with?("/>")
        raise Malformed, "its elements are nested too deep" if depth > DEPTH_MAX
      end
    end
    private_class_method :scan

    def parse(text)
      Listener.new.tap { |listener| listener.parse(text) }
    rescue Timeout::Error # Somebody else's.
      raise
    rescue StandardError => e # RuntimeError, NoMethodError, errors of REXML: all mean the same.
      raise Malformed, e.message
    end
    private_class_method :parse

    def native(value)
      case value
      when Hash then value.to_h { |name, member| [name.to_sym, native(member)] }
      when Array then value.map { |element| native(element) }
      when XMLRPC::DateTime then value.to_time
      when String, Integer, Float, true, false, nil then value
      else raise Malformed, "there is a #{value.class} in it"
      end
    end
    private_class_method :native

    # Writes text in UTF-8, whatever its encoding was.
    class Writer < XMLRPC::XMLWriter::Simple
      def text(txt)
        super(txt.encode(Encoding::UTF_8))
      end
    end

    # Writes nil, and integers beyond 32 bits, and refuses what is not plain data.
    class Create < XMLRPC::Create
      INT32 = (-(2**31)...(2**31))

      private

      def conv2value(param)
        case param
        when nil then "<value><nil/></value>"
        when Integer then INT32.cover?(param) ? super : "<value><i8>#{param}</i8></value>"
        when String, Symbol, Float, true, false, Array, Hash, XMLRPC::Base64 then super
        else raise ArgumentError, "there is no form for #{param.class}"
        end
      end
    end

    # Hears of the parts of an answer. Reads nil, and makes no objects but plain data, which the gem does where a struct
    # has this name in it.
    class Listener < XMLRPC::XMLParser::REXMLStreamParser::StreamListener
      OBJECT = "___class___"
      private_constant :OBJECT

      def tag_end(name)
        super
        raise "there is a member #{OBJECT}" if name == "name" && @name[0] == OBJECT
      end

      def tag_start(name, attributes)
        return super unless name == "nil"

        @data = nil
        @value = :nil # What the gem's own code puts here where nil is switched on.
      end
    end
  end
end
